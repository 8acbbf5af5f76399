//! The lesson: the open chapter, the keys, and what is drawn.

use std::time::Duration;

use meanwhile_core::background::task::Timestamp;
use meanwhile_core::background::{Background, Event, Events};
use tokio::time::MissedTickBehavior;

use super::Endings;
use super::clock::Clock;
use super::draining::Draining;
use super::face;
use super::placing::{Placing, Question};
use super::scratch::{Scratch, stop_all};
use super::screen::{Key, Screen};
use super::timeline::Timeline;
use crate::cli::failure::Failure;
use crate::cli::show;

/// How often the screen is drawn and the lesson's time is advanced.
const TICK: Duration = Duration::from_millis(40);
/// The exit code of a program whose terminal is gone: 128 + SIGHUP.
const HUNG_UP: u8 = 129;

pub(super) enum Chapter {
    Timeline(Box<Timeline>),
    Placing(Placing),
    Draining(Box<Draining>),
    Summary,
}

/// A chapter's score: the number of right answers, and of questions.
pub(super) type Score = Option<(usize, usize)>;

pub(super) struct Lesson {
    background: Background,
    work: std::path::PathBuf,
    questions: Vec<Question>,
    pub(super) chapter: Chapter,
    /// The scores of chapters 2 and 3, if they were opened.
    pub(super) scores: (Score, Score),
    /// Set while the help page covers the chapter: whether the clock was paused before.
    help: Option<bool>,
}

impl Lesson {
    pub(super) async fn open(
        scratch: &Scratch,
        chapter: u8,
        questions: Vec<Question>,
    ) -> Result<Self, Failure> {
        let mut lesson = Self {
            background: scratch.background.clone(),
            work: scratch.work(),
            questions,
            chapter: Chapter::Summary,
            scores: (None, None),
            help: None,
        };
        lesson.go_to(chapter).await?;
        Ok(lesson)
    }

    /// Plays until the player exits. Returns the program's exit code.
    pub(super) async fn run(
        &mut self,
        screen: &mut Screen,
        events: &mut Events,
        endings: &mut Endings,
    ) -> Result<u8, Failure> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                biased;
                code = endings.next() => return Ok(code),
                key = screen.key() => {
                    if let Some(code) = self.key(key).await? {
                        return Ok(code);
                    }
                    self.draw(screen)?;
                }
                // Before the updates, so that many updates do not delay the lesson's time.
                _ = tick.tick() => {
                    self.tick().await?;
                    self.draw(screen)?;
                }
                Some(event) = events.next() => self.event(event),
                step = self.step() => step?,
            }
        }
    }

    /// Closes everything. Returns the text to print after the terminal is restored.
    pub(super) async fn close(mut self) -> Vec<String> {
        self.note_score();
        let words = match &self.chapter {
            Chapter::Summary => face::summary(self.scores),
            Chapter::Timeline(_) | Chapter::Placing(_) | Chapter::Draining(_) => Vec::new(),
        };
        // If this fails, closing the store stops the tasks.
        let _ = self.leave().await;
        words
    }

    /// The number of the open chapter; the summary follows the last one.
    pub(super) fn number(&self) -> u8 {
        match self.chapter {
            Chapter::Timeline(_) => 1,
            Chapter::Placing(_) => 2,
            Chapter::Draining(_) => 3,
            Chapter::Summary => 4,
        }
    }

    pub(super) fn has_help(&self) -> bool {
        self.help.is_some()
    }

    /// The clock of the open chapter, if it has one.
    fn clock(&mut self) -> Option<&mut Clock> {
        match &mut self.chapter {
            Chapter::Timeline(timeline) => Some(&mut timeline.clock),
            Chapter::Draining(draining) => Some(draining.clock()),
            Chapter::Placing(_) | Chapter::Summary => None,
        }
    }

    /// Whether something moves that can be slowed down and paused.
    pub(super) fn moves(&self) -> bool {
        match &self.chapter {
            Chapter::Timeline(_) => true,
            Chapter::Draining(draining) => draining.moves(),
            Chapter::Placing(_) | Chapter::Summary => false,
        }
    }

    /// Closes the open chapter, with its running tasks.
    async fn leave(&mut self) -> Result<(), Failure> {
        match std::mem::replace(&mut self.chapter, Chapter::Summary) {
            Chapter::Timeline(timeline) => timeline.close().await,
            Chapter::Draining(draining) => draining.close().await,
            Chapter::Placing(_) | Chapter::Summary => return Ok(()),
        }
        stop_all(&self.background).await
    }

    fn note_score(&mut self) {
        match &self.chapter {
            Chapter::Placing(placing) => self.scores.0 = Some(placing.score()),
            Chapter::Draining(draining) => self.scores.1 = Some(draining.score()),
            Chapter::Timeline(_) | Chapter::Summary => {}
        }
    }

    async fn go_to(&mut self, chapter: u8) -> Result<(), Failure> {
        self.note_score();
        self.leave().await?;
        self.chapter = match chapter {
            ..=1 => {
                let timeline = Timeline::open(&self.background, &self.work).await?;
                Chapter::Timeline(Box::new(timeline))
            }
            2 => Chapter::Placing(Placing::new(self.questions.clone())),
            3 => {
                let draining = Draining::new(self.background.clone(), self.work.clone());
                Chapter::Draining(Box::new(draining))
            }
            4.. => Chapter::Summary,
        };
        Ok(())
    }

    /// Processes the next event of the open chapter. Cancel-safe.
    async fn step(&mut self) -> Result<(), Failure> {
        match &mut self.chapter {
            Chapter::Timeline(timeline) => match timeline.next().await {
                Some(update) => timeline.update(update),
                None => std::future::pending().await,
            },
            Chapter::Draining(draining) => draining.step().await,
            Chapter::Placing(_) | Chapter::Summary => std::future::pending().await,
        }
    }

    fn event(&mut self, event: Event) {
        match &mut self.chapter {
            Chapter::Timeline(timeline) => timeline.event(event),
            Chapter::Draining(draining) => draining.event(event),
            Chapter::Placing(_) | Chapter::Summary => {}
        }
    }

    async fn tick(&mut self) -> Result<(), Failure> {
        match &mut self.chapter {
            Chapter::Timeline(timeline) => timeline.tick(Timestamp::now()).await,
            Chapter::Placing(_) | Chapter::Draining(_) | Chapter::Summary => Ok(()),
        }
    }

    /// Handles a key; returns the exit code if it ends the lesson.
    async fn key(&mut self, key: Key) -> Result<Option<u8>, Failure> {
        let key = match key {
            Key::Interrupt => return Ok(Some(show::INTERRUPTED)),
            Key::Gone => return Ok(Some(HUNG_UP)),
            Key::Resized => return Ok(None),
            Key::Escape => {
                self.help(false);
                return Ok(None);
            }
            Key::Char(key) => key,
        };
        let now = Timestamp::now();
        match key {
            'q' => return Ok(Some(0)),
            '?' => self.help(self.help.is_none()),
            _ if self.help.is_some() => self.help(false),
            'n' => self.go_to((self.number() + 1).min(4)).await?,
            'p' => self.go_to(self.number().saturating_sub(1).max(1)).await?,
            ' ' if self.moves() => {
                if let Some(clock) = self.clock() {
                    clock.pause(now, !clock.is_paused());
                }
                self.paced();
            }
            '+' | '=' | '-' => {
                if let Some(clock) = self.clock() {
                    clock.change(now, key != '-');
                }
                self.paced();
            }
            key => match &mut self.chapter {
                Chapter::Timeline(timeline) => timeline.key(key),
                Chapter::Placing(placing) => placing.key(key),
                Chapter::Draining(draining) => draining.key(key),
                Chapter::Summary if key == '\n' => return Ok(Some(0)),
                Chapter::Summary => {}
            },
        }
        let is_over = match &self.chapter {
            Chapter::Placing(placing) => placing.is_over(),
            Chapter::Draining(draining) => draining.is_over(),
            Chapter::Timeline(_) | Chapter::Summary => false,
        };
        if is_over {
            self.go_to(self.number() + 1).await?;
        }
        Ok(None)
    }

    /// Opens or closes the help page. The clock is paused behind it.
    fn help(&mut self, open: bool) {
        let now = Timestamp::now();
        match (self.help, open) {
            (None, true) => {
                let was_paused = self.clock().is_some_and(|clock| clock.is_paused());
                self.help = Some(was_paused);
                if let Some(clock) = self.clock() {
                    clock.pause(now, true);
                }
            }
            (Some(was_paused), false) => {
                self.help = None;
                if let Some(clock) = self.clock() {
                    clock.pause(now, was_paused);
                }
            }
            (None, false) | (Some(_), true) => {}
        }
        self.paced();
    }

    /// Passes a change of the clock to the running scenario.
    fn paced(&self) {
        if let Chapter::Draining(draining) = &self.chapter {
            draining.paced();
        }
    }

    fn draw(&self, screen: &mut Screen) -> Result<(), Failure> {
        let now = Timestamp::now();
        screen.draw(|pen| face::draw(pen, self, now))
    }
}
